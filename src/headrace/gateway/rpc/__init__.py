"""gRPC over the data plane; imported only when asked for (extra ``grpc``)."""
