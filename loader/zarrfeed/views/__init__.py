"""What samples, cases and batches look like: for previews, reports and notebooks."""
