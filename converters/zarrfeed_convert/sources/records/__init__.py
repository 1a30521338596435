"""Datasets whose samples are records of large files: TFRecord, Parquet, WebDataset."""
