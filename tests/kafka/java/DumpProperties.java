import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Properties;

/** Prints what java.util.Properties makes of each file of a folder: "name" or "name key=value ...", texts in hex. */
public class DumpProperties {
    public static void main(String[] arguments) throws Exception {
        try (var files = Files.list(Path.of(arguments[0]))) {
            for (Path file : (Iterable<Path>) files.sorted()::iterator) {
                StringBuilder line = new StringBuilder(file.getFileName().toString());
                Properties properties = new Properties();
                try (InputStream input = new FileInputStream(file.toFile())) {
                    properties.load(input);
                    for (String name : properties.stringPropertyNames()) {
                        line.append(' ').append(hex(name)).append('=').append(hex(properties.getProperty(name)));
                    }
                } catch (IllegalArgumentException malformed) {
                    line.append(" malformed");
                }
                System.out.println(line);
            }
        }
    }

    private static String hex(String text) {
        return HexFormat.of().formatHex(text.getBytes(StandardCharsets.UTF_16BE));
    }
}
