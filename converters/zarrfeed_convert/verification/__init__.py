"""Verification: is a dataset still what was packed?"""
