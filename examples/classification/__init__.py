"""Classification: pictures and handwritten digits, over gRPC and REST, with latencies and accuracy."""
