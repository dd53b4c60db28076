import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Sends the rows on standard input to a topic in transactions of 100, of which every third is aborted, or all.
 *
 * <p>Arguments: servers, topic, and `all` to abort all.
 */
public class Sender {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        boolean all = args.length > 2 && args[2].equals("all");
        List<String> rows = in.lines().collect(Collectors.toList());
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("transactional.id", args[1]);
        settings.put("compression.type", "snappy");
        settings.put("linger.ms", "5");
        StringSerializer text = new StringSerializer();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, text, text)) {
            producer.initTransactions();
            for (int begin = 0; begin < rows.size(); begin += 100) {
                producer.beginTransaction();
                for (String row : rows.subList(begin, Math.min(begin + 100, rows.size()))) {
                    ProducerRecord<String, String> record = new ProducerRecord<>(args[1], null, row);
                    record.headers().add("sender", "java".getBytes(StandardCharsets.UTF_8));
                    producer.send(record);
                }
                // What is aborted is in the log all the same.
                producer.flush();
                if (all || begin / 100 % 3 == 1) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
        }
    }
}
