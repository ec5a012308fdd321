// Reads keys, one a line in hexadecimal, and writes where the Java client's
// default partitioner puts each, of as many partitions as the argument says.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

public class Partitions {
  public static void main(String[] args) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in));
    for (String key; (key = in.readLine()) != null; ) {
      System.out.println(BuiltInPartitioner.partitionForKey(HexFormat.of().parseHex(key), Integer.parseInt(args[0])));
    }
  }
}
