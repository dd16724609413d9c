"""Data that comes with minidl, and how it was made."""
