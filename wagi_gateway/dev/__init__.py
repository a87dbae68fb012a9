"""The development server and its inspector; the command `dev` alone imports this folder."""
