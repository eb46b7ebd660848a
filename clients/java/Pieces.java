// Copyright: tfserving.fleet contributors
// SPDX-License-Identifier: Apache-2.0

import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.ListenableFuture;
import io.grpc.Channel;
import io.grpc.Deadline;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import tensorflow.serving.GetModelMetadataRequest;
import tensorflow.serving.GetModelMetadataResponse;
import tensorflow.serving.PredictRequest;
import tensorflow.serving.PredictResponse;
import tensorflow.serving.PredictionServiceGrpc;
import tensorflow.serving.PredictionServiceGrpc.PredictionServiceFutureStub;

/** Sends large Predict requests in pieces, all at once, as ../spec.md says. */
public final class Pieces {
  private final List<? extends Channel> channels;
  private final int size;
  private final int slots;
  private final AtomicInteger turn = new AtomicInteger();
  private int busy;

  /** Predicts over channels to one address; size rows are worth a piece, and slots calls may run at a time. */
  public Pieces(List<? extends Channel> channels, int size, int slots) {
    this.channels = channels;
    this.size = size;
    this.slots = slots;
  }

  /** Returns the rows of each piece, which differ by one at most. */
  public static int[] sizes(int rows, int size, int free) {
    int[] cut = new int[Math.max(1, Math.min((rows + size - 1) / size, free))];
    for (int i = 0; i < cut.length; i++) {
      cut[i] = rows / cut.length + (i < rows % cut.length ? 1 : 0);
    }
    return cut;
  }

  /** Returns the answer to a request. Throws an ExecutionException with what a call ended as, or Tensors.Refused. */
  public PredictResponse predict(PredictRequest request, Deadline deadline)
      throws ExecutionException, InterruptedException {
    int rows = request.getInputsMap().values().stream().mapToInt(Tensors::rows).max().orElse(0);
    int[] cut = taken(rows);
    try {
      if (cut.length == 1) {
        return stub(deadline).predict(request).get();
      }
      try {
        return atOnce(request, cut, deadline);
      } catch (ExecutionException error) { // the version may have been unloaded after it was read
        if (Status.fromThrowable(error).getCode() != Status.Code.NOT_FOUND || request.getModelSpec().hasVersion()) {
          throw error;
        }
      }
      return atOnce(request, cut, deadline);
    } finally {
      synchronized (this) {
        busy -= cut.length;
      }
    }
  }

  private synchronized int[] taken(int rows) {
    int[] cut = sizes(rows, size, slots - busy);
    busy += cut.length;
    return cut;
  }

  private PredictResponse atOnce(PredictRequest request, int[] cut, Deadline deadline)
      throws ExecutionException, InterruptedException {
    GetModelMetadataResponse told =
        stub(deadline)
            .getModelMetadata(
                GetModelMetadataRequest.newBuilder()
                    .setModelSpec(request.getModelSpec())
                    .addMetadataField("signature_def")
                    .build())
            .get();
    Tensors.checkSignature(request, told);
    long version = told.getModelSpec().getVersion().getValue();
    List<ListenableFuture<PredictResponse>> calls = new ArrayList<>();
    try {
      for (PredictRequest piece : Tensors.pieces(request, cut, version)) {
        calls.add(stub(deadline).predict(piece));
      }
      return Tensors.joined(Futures.allAsList(calls).get(), cut, version);
    } finally { // the first error cancels the others
      calls.forEach(call -> call.cancel(true));
    }
  }

  private PredictionServiceFutureStub stub(Deadline deadline) {
    Channel channel = channels.get(Math.floorMod(turn.getAndIncrement(), channels.size()));
    return PredictionServiceGrpc.newFutureStub(channel).withDeadline(deadline);
  }
}
