// Copyright: tfserving.fleet contributors
// SPDX-License-Identifier: Apache-2.0

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Int64Value;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import tensorflow.DataType;
import tensorflow.SignatureDef;
import tensorflow.TensorInfo;
import tensorflow.TensorProto;
import tensorflow.TensorShapeProto;
import tensorflow.serving.GetModelMetadataResponse;
import tensorflow.serving.PredictRequest;
import tensorflow.serving.PredictResponse;
import tensorflow.serving.SignatureDefMap;

/** Cuts the tensors of a Predict request by rows, and joins those of its answers. */
final class Tensors {
  // A complex number would be two values.
  private static final List<DataType> NEVER_CUT =
      List.of(DataType.DT_INVALID, DataType.DT_COMPLEX64, DataType.DT_COMPLEX128, DataType.UNRECOGNIZED);

  /** A request that cannot be cut, or answers that cannot be joined. */
  public static final class Refused extends RuntimeException {
    Refused(String why) {
      super(why);
    }
  }

  private Tensors() {}

  static int rows(TensorProto tensor) {
    return rows(tensor.getTensorShape());
  }

  private static int rows(TensorShapeProto shape) {
    return shape.getDimCount() == 0 ? 0 : (int) shape.getDim(0).getSize();
  }

  /** Refuses inputs and outputs that are not batched on dimension 0 by the signature, as far as it tells. */
  static void checkSignature(PredictRequest request, GetModelMetadataResponse told) {
    SignatureDefMap known;
    try {
      known = told.getMetadataOrDefault("signature_def", Any.getDefaultInstance()).unpack(SignatureDefMap.class);
    } catch (InvalidProtocolBufferException unknown) {
      return;
    }
    String name = request.getModelSpec().getSignatureName();
    SignatureDef signature =
        known.getSignatureDefOrDefault(name.isEmpty() ? "serving_default" : name, SignatureDef.getDefaultInstance());
    checkSide(request.getInputsMap().keySet(), signature.getInputsMap());
    List<String> filter = request.getOutputFilterList();
    checkSide(filter.isEmpty() ? signature.getOutputsMap().keySet() : filter, signature.getOutputsMap());
  }

  private static void checkSide(Collection<String> names, Map<String, TensorInfo> side) {
    for (String name : names) {
      TensorInfo info = side.get(name);
      if (info != null && !info.getTensorShape().getUnknownRank() && rows(info.getTensorShape()) != -1) {
        throw new Refused(name + ": is not batched on dimension 0");
      }
    }
  }

  /** Returns a request for each piece, all of one version. */
  static List<PredictRequest> pieces(PredictRequest request, int[] cut, long version) {
    int rows = Arrays.stream(cut).sum();
    request.getInputsMap().forEach((name, tensor) -> check(name, tensor, rows));
    PredictRequest.Builder head = request.toBuilder().clearInputs();
    head.getModelSpecBuilder().setVersion(Int64Value.of(version));
    List<PredictRequest> pieces = new ArrayList<>();
    int start = 0;
    for (int size : cut) {
      PredictRequest.Builder piece = head.clone();
      int first = start;
      request.getInputsMap().forEach((name, tensor) -> piece.putInputs(name, part(tensor, first, first + size)));
      pieces.add(piece.build());
      start += size;
    }
    return pieces;
  }

  private static void check(String name, TensorProto tensor, int rows) {
    if (rows(tensor) != rows) {
      throw new Refused(name + ": has not " + rows + " rows as another input");
    }
    if (NEVER_CUT.contains(tensor.getDtype()) || tensor.getTensorContent().size() % rows != 0 || packedTexts(tensor)) {
      throw new Refused(name + ": cannot be cut");
    }
  }

  private static TensorProto part(TensorProto tensor, int start, int stop) {
    int row = rowValues(tensor);
    int rowBytes = tensor.getTensorContent().size() / rows(tensor);
    TensorProto.Builder piece = tensor.toBuilder();
    piece.getTensorShapeBuilder().getDimBuilder(0).setSize(stop - start);
    piece.setTensorContent(tensor.getTensorContent().substring(start * rowBytes, stop * rowBytes));
    tensor.getAllFields().forEach((field, held) -> {
      if (field.isRepeated()) {
        List<?> values = (List<?>) held;
        int end = Math.min(stop * row, values.size());
        int first = Math.min(start * row, end);
        // The last value stands for all that are missing.
        piece.setField(field, first < end ? values.subList(first, end) : values.subList(values.size() - 1, values.size()));
      }
    });
    return piece.build();
  }

  /** Tells whether the content begins with the lengths of its texts, so that no rows can be taken of it. */
  private static boolean packedTexts(TensorProto tensor) {
    return tensor.getDtype() == DataType.DT_STRING && !tensor.getTensorContent().isEmpty();
  }

  private static int rowValues(TensorProto tensor) {
    return (int) tensor.getTensorShape().getDimList().stream().skip(1).mapToLong(dim -> dim.getSize())
        .reduce(1, (some, more) -> some * more);
  }

  /** Returns one answer of the answers to all pieces, in their order. */
  static PredictResponse joined(List<PredictResponse> answers, int[] cut, long version) {
    PredictResponse first = answers.get(0);
    for (PredictResponse answer : answers) {
      if (answer.getModelSpec().getVersion().getValue() != version
          || !answer.getOutputsMap().keySet().equals(first.getOutputsMap().keySet())) {
        throw new Refused("the answers differ in version or outputs");
      }
    }
    PredictResponse.Builder whole = first.toBuilder();
    for (String name : first.getOutputsMap().keySet()) {
      List<TensorProto> parts = new ArrayList<>();
      answers.forEach(answer -> parts.add(answer.getOutputsOrThrow(name)));
      whole.putOutputs(name, join(name, parts, cut));
    }
    return whole.build();
  }

  private static TensorProto join(String name, List<TensorProto> parts, int[] cut) {
    TensorProto.Builder whole = parts.get(0).toBuilder().clearTensorContent();
    List<ByteString> contents = new ArrayList<>();
    for (int i = 0; i < cut.length; i++) {
      TensorProto part = parts.get(i);
      if (rows(part) != cut[i]) {
        throw new Refused(name + ": is not batched on dimension 0");
      }
      int values = cut[i] * rowValues(part);
      boolean full = lists(part).values().stream().allMatch(held -> held.size() == values);
      if (!full || packedTexts(part) || !form(part).equals(form(parts.get(0)))) {
        throw new Refused(name + ": differs in type, shape or values from piece to piece");
      }
      if (i > 0) {
        lists(part).forEach((field, more) -> more.forEach(value -> whole.addRepeatedField(field, value)));
      }
      contents.add(part.getTensorContent());
    }
    whole.getTensorShapeBuilder().getDimBuilder(0).setSize(Arrays.stream(cut).sum());
    return whole.setTensorContent(ByteString.copyFrom(contents)).build();
  }

  private static Map<FieldDescriptor, List<?>> lists(TensorProto tensor) {
    Map<FieldDescriptor, List<?>> found = new TreeMap<>();
    tensor.getAllFields().forEach((field, held) -> {
      if (field.isRepeated()) {
        found.put(field, (List<?>) held);
      }
    });
    return found;
  }

  /** Returns what all pieces of a tensor have in common. */
  private static List<Object> form(TensorProto tensor) {
    List<Object> common = new ArrayList<>(tensor.getAllFields().keySet());
    common.add(tensor.getDtype());
    tensor.getTensorShape().getDimList().stream().skip(1).forEach(dim -> common.add(dim.getSize()));
    return common;
  }
}
