"""A plugin of buf that generates what grpcio needs: messages, their types, and stubs. grpcio-tools has the generators, but
only behind a protoc of its own."""

import os
import sys
import tempfile

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
response = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
with tempfile.TemporaryDirectory() as folder:
    described, out = os.path.join(folder, "descriptors"), os.path.join(folder, "out")
    os.mkdir(out)
    with open(described, "wb") as file:
        file.write(FileDescriptorSet(file=request.proto_file).SerializeToString())
    outs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    failed = protoc.main(["protoc", f"--descriptor_set_in={described}", *outs, *request.file_to_generate])
    if failed:
        sys.exit(failed)
    for parent, _, names in sorted(os.walk(out)):
        for name in sorted(names):
            path = os.path.join(parent, name)
            with open(path, encoding="utf-8") as file:
                response.file.add(name=os.path.relpath(path, out), content=file.read())
sys.stdout.buffer.write(response.SerializeToString())
