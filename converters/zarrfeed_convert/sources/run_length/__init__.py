"""Run-length codes in CSV files, as competitions on Kaggle have them."""
