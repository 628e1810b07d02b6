"""What a server says about a model: its signature and the state of its versions, over gRPC and REST."""
