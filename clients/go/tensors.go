// Copyright: tfserving.fleet contributors
// SPDX-License-Identifier: Apache-2.0

package pieces

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"serving/pb" // made of ../protos by protoc
)

// Refused is a request that cannot be cut, or answers that cannot be joined.
type Refused struct{ Why string }

func (r Refused) Error() string { return r.Why }

func rowsOf(shape *pb.TensorShapeProto) int {
	if len(shape.GetDim()) == 0 {
		return 0
	}
	return int(shape.Dim[0].Size)
}

// checkSignature refuses inputs and outputs that are not batched on dimension 0 by the signature, as far as it tells.
func checkSignature(request *pb.PredictRequest, told *pb.GetModelMetadataResponse) error {
	known := &pb.SignatureDefMap{}
	if packed := told.Metadata["signature_def"]; packed == nil || packed.UnmarshalTo(known) != nil {
		return nil
	}
	name := request.ModelSpec.GetSignatureName()
	if name == "" {
		name = "serving_default"
	}
	signature, inputs, outputs := known.SignatureDef[name], []string{}, request.OutputFilter
	for each := range request.Inputs {
		inputs = append(inputs, each)
	}
	if len(outputs) == 0 {
		for each := range signature.GetOutputs() {
			outputs = append(outputs, each)
		}
	}
	if err := checkSide(inputs, signature.GetInputs()); err != nil {
		return err
	}
	return checkSide(outputs, signature.GetOutputs())
}

func checkSide(names []string, side map[string]*pb.TensorInfo) error {
	for _, name := range names {
		if info := side[name]; info != nil && !info.TensorShape.GetUnknownRank() && rowsOf(info.TensorShape) != -1 {
			return Refused{name + ": is not batched on dimension 0"}
		}
	}
	return nil
}

// piecesOf returns a request for each piece, all of one version.
func piecesOf(request *pb.PredictRequest, cut []int, version int64) ([]*pb.PredictRequest, error) {
	rows := 0
	for _, each := range cut {
		rows += each
	}
	for name, tensor := range request.Inputs {
		if rowsOf(tensor.TensorShape) != rows {
			return nil, Refused{fmt.Sprintf("%s: has not %d rows as another input", name, rows)}
		}
		if _, known := pb.DataType_name[int32(tensor.Dtype)]; !known || len(tensor.TensorContent)%rows != 0 ||
			strings.Contains(tensor.Dtype.String(), "COMPLEX") || tensor.Dtype == pb.DataType_DT_INVALID || packedTexts(tensor) {
			return nil, Refused{name + ": cannot be cut"}
		}
	}
	head := proto.Clone(request).(*pb.PredictRequest)
	head.Inputs = nil
	head.ModelSpec.VersionChoice = &pb.ModelSpec_Version{Version: wrapperspb.Int64(version)}
	requests, start := make([]*pb.PredictRequest, len(cut)), 0
	for i, size := range cut {
		requests[i] = proto.Clone(head).(*pb.PredictRequest)
		requests[i].Inputs = map[string]*pb.TensorProto{}
		for name, tensor := range request.Inputs {
			requests[i].Inputs[name] = part(tensor, start, start+size)
		}
		start += size
	}
	return requests, nil
}

// part returns some rows of a tensor.
func part(tensor *pb.TensorProto, start, stop int) *pb.TensorProto {
	row, rowBytes := rowValues(tensor), len(tensor.TensorContent)/rowsOf(tensor.TensorShape)
	piece := &pb.TensorProto{Dtype: tensor.Dtype, TensorShape: proto.Clone(tensor.TensorShape).(*pb.TensorShapeProto)}
	piece.TensorShape.Dim[0].Size = int64(stop - start)
	piece.TensorContent = tensor.TensorContent[start*rowBytes : stop*rowBytes]
	eachList(tensor, func(field protoreflect.FieldDescriptor, values protoreflect.List) {
		kept, first, end := piece.ProtoReflect().Mutable(field).List(), start*row, stop*row
		if end > values.Len() {
			end = values.Len()
		}
		if first >= end { // the last value stands for all that are missing
			first, end = values.Len()-1, values.Len()
		}
		for ; first < end; first++ {
			kept.Append(values.Get(first))
		}
	})
	return piece
}

// packedTexts tells whether the content begins with the lengths of its texts, so that no rows can be taken of it.
func packedTexts(tensor *pb.TensorProto) bool {
	return tensor.Dtype == pb.DataType_DT_STRING && len(tensor.TensorContent) > 0
}

func rowValues(tensor *pb.TensorProto) int {
	values := 1
	for _, dim := range tensor.TensorShape.Dim[1:] {
		values *= int(dim.Size)
	}
	return values
}

func eachList(tensor *pb.TensorProto, do func(protoreflect.FieldDescriptor, protoreflect.List)) {
	tensor.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.IsList() {
			do(field, value.List())
		}
		return true
	})
}

// joined returns one answer of the answers to all pieces, in their order.
func joined(answers []*pb.PredictResponse, cut []int, version int64) (*pb.PredictResponse, error) {
	whole := &pb.PredictResponse{ModelSpec: answers[0].ModelSpec, Outputs: map[string]*pb.TensorProto{}}
	for i, answer := range answers {
		if answer.ModelSpec.GetVersion().GetValue() != version || len(answer.Outputs) != len(answers[0].Outputs) {
			return nil, Refused{"the answers differ in version or outputs"}
		}
		for name, first := range answers[0].Outputs {
			tensor := answer.Outputs[name]
			if tensor == nil {
				return nil, Refused{"the answers differ in version or outputs"}
			}
			if rowsOf(tensor.TensorShape) != cut[i] {
				return nil, Refused{name + ": is not batched on dimension 0"}
			}
			if form(tensor) != form(first) || !full(tensor, cut[i]) || packedTexts(tensor) {
				return nil, Refused{name + ": differs in type, shape or values from piece to piece"}
			}
			if i == 0 {
				whole.Outputs[name] = proto.Clone(tensor).(*pb.TensorProto)
				continue
			}
			into := whole.Outputs[name]
			into.TensorShape.Dim[0].Size += int64(cut[i])
			into.TensorContent = append(into.TensorContent, tensor.TensorContent...)
			eachList(tensor, func(field protoreflect.FieldDescriptor, values protoreflect.List) {
				for j, list := 0, into.ProtoReflect().Mutable(field).List(); j < values.Len(); j++ {
					list.Append(values.Get(j))
				}
			})
		}
	}
	return whole, nil
}

func full(tensor *pb.TensorProto, rows int) bool {
	right := true
	eachList(tensor, func(_ protoreflect.FieldDescriptor, values protoreflect.List) {
		right = right && values.Len() == rows*rowValues(tensor)
	})
	return right
}

// form returns what all pieces of a tensor have in common.
func form(tensor *pb.TensorProto) string {
	sizes, fields := []int64{}, ""
	for _, dim := range tensor.TensorShape.Dim[1:] {
		sizes = append(sizes, dim.Size)
	}
	for _, number := range []protoreflect.FieldNumber{4, 5, 6, 7, 8, 10, 11, 13, 16, 17} {
		fields += fmt.Sprint(tensor.ProtoReflect().Has(tensor.ProtoReflect().Descriptor().Fields().ByNumber(number)))
	}
	return fmt.Sprint(tensor.Dtype, sizes, fields)
}
