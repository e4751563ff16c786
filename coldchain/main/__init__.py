"""One file per process. The only place that knows all parts and hands them to each other."""
