"""What an author's machine and folder lack."""
