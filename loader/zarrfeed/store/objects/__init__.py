"""Objects of S3, Google Cloud Storage, Azure and web servers. Nothing else imports obstore.

``options`` opens a store, ``object_store`` reads and lists, ``object_transfers`` streams and
writes, ``range_reading`` decides how a read that broke goes on, and ``errors`` says what failed.
"""
