// Copyright: tfserving.fleet contributors
// SPDX-License-Identifier: Apache-2.0

import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import tensorflow.serving.PredictRequest;

/** Calls the Java client as the lines of its input say; driver.py has the lines. */
public final class Driver {
  private Driver() {}

  private static String encoded(byte[] content) {
    return Base64.getEncoder().encodeToString(content);
  }

  private static String answered(Pieces client, PredictRequest request, long timeoutMs) throws InterruptedException {
    try {
      Deadline deadline = Deadline.after(timeoutMs, TimeUnit.MILLISECONDS);
      return "answer:" + encoded(client.predict(request, deadline).toByteArray());
    } catch (Tensors.Refused error) {
      return "refused:" + encoded(error.getMessage().getBytes(StandardCharsets.UTF_8));
    } catch (ExecutionException error) {
      return "error:" + Status.fromThrowable(error).getCode();
    }
  }

  private static List<String> predict(String[] words) throws Exception {
    PredictRequest request = PredictRequest.parseFrom(Base64.getDecoder().decode(words[7]));
    List<ManagedChannel> channels = new ArrayList<>();
    for (int i = 0; i < Integer.parseInt(words[2]); i++) {
      channels.add(NettyChannelBuilder.forAddress("127.0.0.1", Integer.parseInt(words[1])).usePlaintext().build());
    }
    Pieces client = new Pieces(channels, Integer.parseInt(words[3]), Integer.parseInt(words[4]));
    ExecutorService callers = Executors.newCachedThreadPool();
    List<Future<String>> calls = new ArrayList<>();
    for (int i = 0; i < Integer.parseInt(words[6]); i++) {
      calls.add(callers.submit(() -> answered(client, request, Long.parseLong(words[5]))));
    }
    List<String> ended = new ArrayList<>();
    for (Future<String> call : calls) {
      ended.add(call.get());
    }
    callers.shutdown();
    channels.forEach(ManagedChannel::shutdownNow);
    return ended;
  }

  public static void main(String[] arguments) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ");
      if (words[0].equals("sizes")) {
        int[] numbers = Arrays.stream(words).skip(1).mapToInt(Integer::parseInt).toArray();
        int[] cut = Pieces.sizes(numbers[0], numbers[1], numbers[2]);
        System.out.println(Arrays.stream(cut).mapToObj(String::valueOf).collect(Collectors.joining(" ")));
      } else {
        System.out.println(String.join(" ", predict(words)));
      }
    }
  }
}
