//! A Java client's login line, `sasl.jaas.config`, as librdkafka's keys.
//!
//! ```text
//! org.apache.kafka.common.security.plain.PlainLoginModule required username="joe" password="…";
//! ```

/// librdkafka's keys for the login that `config` describes.
///
/// # Errors
/// What is wrong with it, without any of its values.
pub(super) fn translate(config: &str) -> Result<Vec<(&'static str, String)>, String> {
    let words = words(config)?;
    let [module, _control, options @ ..] = &words[..] else {
        return Err("it must be `MODULE required KEY=\"VALUE\" …;`".to_owned());
    };
    let options = pairs(options)?;
    let option = |name: &str| options.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    let class = module.text.rsplit('.').next().unwrap_or_default();
    match class {
        "PlainLoginModule" | "ScramLoginModule" => {
            if option("tokenauth").as_deref() == Some("true") {
                return Err("delegation tokens (`tokenauth`) are not supported".to_owned());
            }
            let needed = |name: &str| option(name).ok_or(format!("{class} needs `{name}=\"…\"`"));
            Ok(vec![("sasl.username", needed("username")?), ("sasl.password", needed("password")?)])
        }
        "OAuthBearerLoginModule" => {
            let Some(principal) = option("unsecuredLoginStringClaim_sub") else {
                let mut keys = vec![("sasl.oauthbearer.method", "oidc".to_owned())];
                for (name, key) in OPEN_ID {
                    keys.extend(option(name).map(|value| (key, value)));
                }
                return Ok(keys);
            };
            let mut config = format!("principal={principal}");
            if let Some(scopes) = option("unsecuredLoginListClaim_scope") {
                config.push_str(&format!(" scope={}", list(&scopes)));
            }
            if let Some(seconds) = option("unsecuredLoginLifetimeSeconds") {
                config.push_str(&format!(" lifeSeconds={seconds}"));
            }
            Ok(vec![("enable.sasl.oauthbearer.unsecure.jwt", "true".to_owned()), ("sasl.oauthbearer.config", config)])
        }
        "Krb5LoginModule" => Err("Kerberos is not supported".to_owned()),
        // A known module's name is no secret; by mistake anything else may stand there.
        _ => Err("the login module must be PlainLoginModule, ScramLoginModule or OAuthBearerLoginModule".to_owned()),
    }
}

/// Options of a login with OpenID Connect, and librdkafka's keys. Without them the keys stand beside the line, as Kafka
/// 4.1 and newer want it. Source: OAuthBearerLoginCallbackHandler and ClientCredentials in Apache Kafka's documentation.
const OPEN_ID: [(&str, &str); 3] = [
    ("clientId", "sasl.oauthbearer.client.id"),
    ("clientSecret", "sasl.oauthbearer.client.secret"),
    ("scope", "sasl.oauthbearer.scope"),
];

/// Java's list of claims, whose first character is what stands between them, with commas.
fn list(claims: &str) -> String {
    match claims.chars().next().filter(|first| !first.is_alphanumeric()) {
        Some(first) => claims[first.len_utf8()..].replace(first, ","),
        None => claims.to_owned(),
    }
}

struct JaasToken {
    text: String,
    quoted: bool,
}

/// Words, quoted texts, and `=` as a separate word, up to the closing semicolon.
fn words(config: &str) -> Result<Vec<JaasToken>, String> {
    let mut words: Vec<JaasToken> = Vec::new();
    let mut chars = config.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            ';' => return Ok(words),
            '=' => words.push(JaasToken { text: "=".to_owned(), quoted: false }),
            '"' | '\'' => words.push(JaasToken { text: quoted(&mut chars, c)?, quoted: true }),
            c => {
                let mut text = String::from(c);
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !matches!(c, ';' | '=' | '"')) {
                    text.push(c);
                }
                words.push(JaasToken { text, quoted: false });
            }
        }
    }
    Err("it must end with `;`".to_owned())
}

fn quoted(chars: &mut impl Iterator<Item = char>, quote: char) -> Result<String, String> {
    let open = || format!("a value that begins with {quote} is not closed");
    let mut text = String::new();
    loop {
        match chars.next().ok_or_else(open)? {
            c if c == quote => return Ok(text),
            // Java's StreamTokenizer reads the escapes of C.
            '\\' => match chars.next().ok_or_else(open)? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
}

fn pairs(words: &[JaasToken]) -> Result<Vec<(&str, String)>, String> {
    let is_sign = |word: &JaasToken| !word.quoted && word.text == "=";
    words
        .chunks(3)
        .map(|chunk| match chunk {
            [key, sign, value] if is_sign(sign) && !is_sign(key) && !is_sign(value) => {
                Ok((key.text.as_str(), value.text.clone()))
            }
            _ => Err("options must be KEY=\"VALUE\", separated by spaces".to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_by_password_become_user_and_password() {
        for module in [
            "org.apache.kafka.common.security.plain.PlainLoginModule",
            "org.apache.kafka.common.security.scram.ScramLoginModule",
            // Confluent's own copy of it.
            "org.apache.kafka.shaded.PlainLoginModule",
        ] {
            let config = format!("{module}   required username=\"joe\" password=\"a\\\"b=;\\\\c\" ;");
            assert_eq!(
                translate(&config).unwrap(),
                [("sasl.username", "joe".to_owned()), ("sasl.password", "a\"b=;\\c".to_owned())]
            );
        }
        let bare = "PlainLoginModule required username=joe password='x y';";
        assert_eq!(translate(bare).unwrap()[1].1, "x y");
    }

    #[test]
    fn an_unsecured_token_keeps_its_principal_scope_and_lifetime() {
        let config = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
            unsecuredLoginStringClaim_sub=\"joe\" unsecuredLoginListClaim_scope=\"|a|b\" \
            unsecuredLoginLifetimeSeconds=\"60\";";
        assert_eq!(translate(config).unwrap()[1].1, "principal=joe scope=a,b lifeSeconds=60");
    }

    #[test]
    fn a_login_with_open_id_keeps_its_client_and_scope_wherever_they_stand() {
        let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";
        let inside = translate(&format!("{module} clientId=\"joe\" clientSecret=\"pw\" scope=\"a b\";")).unwrap();
        let value = |key| inside.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str());
        assert_eq!(value("sasl.oauthbearer.method"), Some("oidc"));
        assert_eq!((value("sasl.oauthbearer.client.id"), value("sasl.oauthbearer.scope")), (Some("joe"), Some("a b")));
        assert_eq!(value("sasl.oauthbearer.client.secret"), Some("pw"));
        assert_eq!(translate(&format!("{module};")).unwrap(), [("sasl.oauthbearer.method", "oidc".to_owned())]);
    }

    #[test]
    fn errors_name_what_is_wrong_without_a_value() {
        for (config, said) in [
            ("PlainLoginModule required username=\"hush\" password=\"hush\"", "it must end with `;`"),
            ("PlainLoginModule required username=\"hush\";", "PlainLoginModule needs `password=\"…\"`"),
            ("PlainLoginModule required username \"hush\";", "options must be KEY=\"VALUE\", separated by spaces"),
            ("PlainLoginModule required password=\"hush;", "a value that begins with \" is not closed"),
            ("hush;", "it must be `MODULE required KEY=\"VALUE\" …;`"),
            (
                "com.example.Hush required;",
                "the login module must be PlainLoginModule, ScramLoginModule or OAuthBearerLoginModule",
            ),
            ("Krb5LoginModule required;", "Kerberos is not supported"),
        ] {
            assert_eq!(translate(config).unwrap_err(), said);
        }
    }
}
