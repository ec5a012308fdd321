// Command docgen writes what consumers of the events work with into
// docs/events: asyncapi.yaml, a JSON Schema for each type, and the protobuf
// file. Its sources are proto/stampede/events/v1 with its comments, the topics
// of package cloudevents, and docs/events/commands.schema.json for the way in.
// go generate runs it; make check-generated compares.
//
//	docgen REPOSITORY
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"stampede/events/cloudevents"
)

const eventsFile = "stampede/events/v1/events.proto"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: docgen REPOSITORY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run(repository string) error {
	file, err := describe(repository)
	if err != nil {
		return err
	}
	docs := filepath.Join(repository, "docs", "events")
	commands, err := os.ReadFile(filepath.Join(docs, "commands.schema.json"))
	if err != nil {
		return err
	}
	source, err := os.ReadFile(filepath.Join(repository, "proto", eventsFile))
	if err != nil {
		return err
	}
	files, err := generate(file, commands)
	if err != nil {
		return err
	}
	files["protobuf/"+eventsFile] = source
	for _, made := range []string{"schemas", "protobuf"} { // what is no longer published goes
		if err := os.RemoveAll(filepath.Join(docs, made)); err != nil {
			return err
		}
	}
	for name, content := range files {
		path := filepath.Join(docs, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // documentation, for everybody
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil { //nolint:gosec // documentation, for everybody
			return err
		}
	}
	return nil
}

// generate makes all files but the protobuf one, by their names in docs/events.
func generate(file protoreflect.FileDescriptor, commands []byte) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, topic := range cloudevents.Topics() {
		for _, name := range cloudevents.Types(topic.Name) {
			message := file.Messages().ByName(protoreflect.Name(name))
			if message == nil {
				return nil, fmt.Errorf("%s has no message %s", eventsFile, name)
			}
			content, err := schemaFile(message)
			if err != nil {
				return nil, err
			}
			files["schemas/"+name+".schema.json"] = content
		}
	}
	var err error
	files["asyncapi.yaml"], err = asyncAPI(file, commands)
	return files, err
}

// describe compiles the proto file with its comments, which the generated Go
// code does not have.
func describe(repository string) (protoreflect.FileDescriptor, error) {
	buf := exec.CommandContext(context.Background(), "go", "tool", "-modfile=.tools/buf.mod", "buf", "build", "--path=proto/"+eventsFile, "--as-file-descriptor-set", "-o=-#format=binpb")
	buf.Dir = repository
	var said bytes.Buffer
	buf.Stderr = &said
	image, err := buf.Output()
	if err != nil {
		return nil, fmt.Errorf("buf build: %w\n%s", err, &said)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(image, &set); err != nil {
		return nil, fmt.Errorf("what buf built: %w", err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, fmt.Errorf("what buf built: %w", err)
	}
	return files.FindFileByPath(eventsFile)
}
