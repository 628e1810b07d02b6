"""The clients of the other folders on tensorflow-serving-api, TensorFlow Serving's own client library."""
