// Copyright: tfserving.fleet contributors
// SPDX-License-Identifier: Apache-2.0

// Package pieces sends large Predict requests in pieces, all at once, as ../spec.md says.
package pieces

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"serving/pb" // made of ../protos by protoc
)

// Pieces predicts by Clients, each on a connection of its own to one address; Size rows are worth a piece, and Slots
// calls may run at a time.
type Pieces struct {
	Clients     []pb.PredictionServiceClient
	Size, Slots int
	lock        sync.Mutex
	busy, turn  int
}

// Sizes returns the rows of each piece, which differ by one at most.
func Sizes(rows, size, free int) []int {
	pieces := (rows + size - 1) / size
	if pieces > free {
		pieces = free
	}
	if pieces < 1 {
		pieces = 1
	}
	cut := make([]int, pieces)
	for i := range cut {
		cut[i] = rows / pieces
		if i < rows%pieces {
			cut[i]++
		}
	}
	return cut
}

// Predict returns the answer to a request before the deadline of its context.
func (p *Pieces) Predict(ctx context.Context, request *pb.PredictRequest) (*pb.PredictResponse, error) {
	rows := 0
	for _, tensor := range request.Inputs {
		if found := rowsOf(tensor.TensorShape); found > rows {
			rows = found
		}
	}
	p.lock.Lock()
	cut := Sizes(rows, p.Size, p.Slots-p.busy)
	p.busy += len(cut)
	p.lock.Unlock()
	defer func() { p.lock.Lock(); p.busy -= len(cut); p.lock.Unlock() }()
	if len(cut) == 1 {
		return p.next().Predict(ctx, request)
	}
	answer, err := p.atOnce(ctx, request, cut)
	if status.Code(err) == codes.NotFound && request.ModelSpec.GetVersion() == nil {
		return p.atOnce(ctx, request, cut) // the version was unloaded after it was read
	}
	return answer, err
}

func (p *Pieces) next() pb.PredictionServiceClient {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.turn++
	return p.Clients[(p.turn-1)%len(p.Clients)]
}

func (p *Pieces) atOnce(ctx context.Context, request *pb.PredictRequest, cut []int) (*pb.PredictResponse, error) {
	asked := &pb.GetModelMetadataRequest{ModelSpec: request.ModelSpec, MetadataField: []string{"signature_def"}}
	told, err := p.Clients[0].GetModelMetadata(ctx, asked)
	if err != nil {
		return nil, err
	}
	if err := checkSignature(request, told); err != nil {
		return nil, err
	}
	version := told.ModelSpec.GetVersion().GetValue()
	requests, err := piecesOf(request, cut, version)
	if err != nil {
		return nil, err
	}
	answers := make([]*pb.PredictResponse, len(cut))
	group, together := errgroup.WithContext(ctx) // the first error cancels the others
	for i := range requests {
		i, client := i, p.next()
		group.Go(func() (err error) { answers[i], err = client.Predict(together, requests[i]); return })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return joined(answers, cut, version)
}
