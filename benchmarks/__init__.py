"""What ovms costs, each figure next to a baseline of the same run; ``python -m benchmarks`` renders README.md."""
