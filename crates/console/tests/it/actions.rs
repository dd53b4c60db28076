//! SQL, and the two actions.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::browser::{Console, FORM, PATIENCE, request};
use crate::demo_data::DemoMood;

const SQL: &str = "/p/mta-turnstile/sql";

#[tokio::test]
async fn a_query_is_shown_as_a_table_and_a_chart() {
    let console = Console::start(DemoMood::Full).await;
    let page = console.get(SQL).await;
    let answer = console.submit(&page, SQL, "query=SELECT+*%0AFROM+%22x%3Cy%22").await;
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(text.contains("192 rows in 87 ms") && text.contains("34 ST-PENN STA") && text.contains("null"), "{text}");
    assert!(answer.body.contains("<svg class=\"chart\""));
    assert!(answer.body.contains("SELECT *\nFROM &quot;x&lt;y&quot;</textarea>"), "the query is still in the editor");
}

#[tokio::test]
async fn a_query_that_is_wrong_is_shown_with_its_position_and_a_hint() {
    let console = Console::start(DemoMood::Full).await;
    let page = console.get(SQL).await;
    let answer = console.submit(&page, SQL, "query=DROP+TABLE+x").await;
    assert_eq!(answer.status, 422);
    let text = answer.text();
    for expected in ["Only queries that read are allowed.", "Begin with SELECT or WITH.", "1 | DROP TABLE x | ^"] {
        assert!(text.contains(expected), "no {expected:?} in {text}");
    }
}

#[tokio::test]
async fn a_query_that_never_ends_is_cut() {
    let console =
        Console::with(DemoMood::Full, 10, |settings| settings.limits.sql_timeout = Duration::from_millis(200)).await;
    let page = console.get(SQL).await;
    let answer = console.submit(&page, SQL, "query=sleep").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("The query was ended after 200 milliseconds."), "{}", answer.text());
}

#[tokio::test]
async fn rows_beyond_the_limit_are_left_out_and_that_is_said() {
    let console = Console::with(DemoMood::Full, 10, |settings| {
        settings.limits.sql_rows = 5;
        settings.limits.csv_rows = 50;
    })
    .await;
    let page = console.get(SQL).await;
    let answer = console.submit(&page, SQL, "query=SELECT+1").await;
    assert!(answer.text().contains("5 rows in 87 ms. There are more"), "{}", answer.text());
    let csv = console.submit(&page, "/p/mta-turnstile/sql.csv", "query=SELECT+1").await;
    assert_eq!((csv.header("content-type"), csv.body.lines().count()), ("text/csv; charset=utf-8", 51));
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"query.csv\"");
    assert!(csv.body.starts_with("start,station,entries,exits\r\n"), "{:.80}", csv.body);
}

#[tokio::test]
async fn dead_letters_are_sent_again_once_and_the_page_says_so_once() {
    let console = Console::start(DemoMood::Full).await;
    let page = console.get("/p/mta-turnstile/dead-letters").await;
    let answer = console.submit(&page, "/p/mta-turnstile/dead-letters/requeue", "reason=type").await;
    assert_eq!(answer.status, 303);
    assert_eq!(console.data.requeued.load(Ordering::Relaxed), 9);
    let outcome = console.get(answer.header("location")).await;
    assert!(outcome.text().contains("9 messages with reason type sent again: 9 to mta-turnstile."));
    let again = console.get(answer.header("location")).await;
    assert!(!again.text().contains("sent again: 9"));
    assert_eq!(console.data.requeued.load(Ordering::Relaxed), 9);
}

#[tokio::test]
async fn an_action_that_is_refused_says_why_and_what_to_do() {
    let console = Console::start(DemoMood::Full).await;
    let page = console.get("/p/mta-turnstile/dead-letters").await;
    let answer = console.submit(&page, "/p/mta-turnstile/dead-letters/requeue", "reason=late").await;
    let text = console.get(answer.header("location")).await.text();
    assert!(text.contains("not done") && text.contains("Late rows would be late again. Set late"), "{text}");
}

#[tokio::test]
async fn a_run_is_cancelled_by_its_button_only() {
    let console = Console::start(DemoMood::Full).await;
    let path = "/p/mta-turnstile/runs/0198a1b2-0000-4000-8000-000000000000";
    let page = console.get(path).await;
    assert!(page.body.contains(&format!("formaction=\"{path}/cancel\"")));
    let answer = console.submit(&page, &format!("{path}/cancel"), "run=x").await;
    assert_eq!(answer.status, 303);
    assert!(console.get(answer.header("location")).await.text().contains("The run is asked to end"));
    let unknown = console.submit(&page, "/p/mta-turnstile/runs/none/cancel", "run=x").await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn a_console_that_only_reads_offers_no_action_and_refuses_one() {
    let console = Console::start(DemoMood::Empty).await;
    let page = console.get("/p/mta-turnstile/dead-letters").await;
    assert!(!page.body.contains("formaction"));
    let answer = console.submit(&page, "/p/mta-turnstile/dead-letters/requeue", "reason=type").await;
    let outcome = console.get(answer.header("location")).await;
    assert!(outcome.text().contains("Nothing runs here, so this console only reads."), "{}", outcome.text());
    assert_eq!(console.data.requeued.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_action_ends_though_its_browser_leaves_and_is_not_run_twice_at_once() {
    let console = Console::start(DemoMood::Full).await;
    let page = console.get("/p/mta-turnstile/dead-letters").await;
    let path = "/p/mta-turnstile/dead-letters/requeue";
    let cookies = page.cookies();
    let headers = [("Cookie", cookies.as_str()), ("Content-Type", FORM)];
    let body = format!("key={}&reason=slow", page.form_key());
    let mut leaving = TcpStream::connect(console.address).await.unwrap();
    leaving.write_all(request("localhost", "POST", path, &headers, &body).as_bytes()).await.unwrap();
    until(|| console.data.begun.load(Ordering::Relaxed) == 1).await;
    drop(leaving);
    let second = console.submit(&page, path, "reason=slow").await;
    let text = console.get(second.header("location")).await.text();
    assert!(text.contains("This is being done already."), "{text}");
    console.data.slow.notify_one();
    until(|| console.data.requeued.load(Ordering::Relaxed) == 9).await;
    assert_eq!(console.data.begun.load(Ordering::Relaxed), 1);
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the condition in time");
}
