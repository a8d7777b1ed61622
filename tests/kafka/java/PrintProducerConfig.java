import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.config.ConfigDef;

/** Prints every setting of Kafka's producer: name, type, default, validator, parted by tabs. */
public class PrintProducerConfig {
    public static void main(String[] arguments) {
        for (ConfigDef.ConfigKey key : ProducerConfig.configDef().configKeys().values()) {
            Object value = key.hasDefault() ? key.defaultValue : "REQUIRED";
            String text = value instanceof Class<?> type ? type.getName() : String.valueOf(value);
            System.out.println(String.join("\t", key.name, key.type.toString(), text, String.valueOf(key.validator)));
        }
    }
}
