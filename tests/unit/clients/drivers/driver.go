// Copyright: tfserving.fleet contributors
// SPDX-License-Identifier: Apache-2.0

// The driver calls the Go client as the lines of its input say; driver.py has the lines.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pieces"
	"serving/pb"
)

var names = map[string]string{
	"NotFound": "NOT_FOUND", "InvalidArgument": "INVALID_ARGUMENT", "Unavailable": "UNAVAILABLE",
	"DeadlineExceeded": "DEADLINE_EXCEEDED",
}

func encoded(content []byte) string { return base64.StdEncoding.EncodeToString(content) }

func answered(client *pieces.Pieces, request *pb.PredictRequest, timeout time.Duration) string {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answer, err := client.Predict(ctx, request)
	var refused pieces.Refused
	if errors.As(err, &refused) {
		return "refused:" + encoded([]byte(refused.Why))
	}
	if err != nil {
		return "error:" + names[status.Code(err).String()]
	}
	content, _ := proto.Marshal(answer)
	return "answer:" + encoded(content)
}

func predict(port string, numbers []int, request string) []string {
	content, _ := base64.StdEncoding.DecodeString(request)
	wish := &pb.PredictRequest{}
	if err := proto.Unmarshal(content, wish); err != nil {
		panic(err)
	}
	client := &pieces.Pieces{Size: numbers[1], Slots: numbers[2]}
	for i := 0; i < numbers[0]; i++ {
		conn, err := grpc.Dial("127.0.0.1:"+port, grpc.WithInsecure())
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		client.Clients = append(client.Clients, pb.NewPredictionServiceClient(conn))
	}
	ended := make([]string, numbers[4])
	done := make(chan bool)
	for i := range ended {
		go func(i int) {
			ended[i] = answered(client, wish, time.Duration(numbers[3])*time.Millisecond)
			done <- true
		}(i)
	}
	for range ended {
		<-done
	}
	return ended
}

func integers(words []string) []int {
	numbers := make([]int, len(words))
	for i, word := range words {
		numbers[i], _ = strconv.Atoi(word)
	}
	return numbers
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		if words[0] == "sizes" {
			n := integers(words[1:])
			fmt.Println(strings.Trim(fmt.Sprint(pieces.Sizes(n[0], n[1], n[2])), "[]"))
			continue
		}
		fmt.Println(strings.Join(predict(words[1], integers(words[2:7]), words[7]), " "))
	}
}
