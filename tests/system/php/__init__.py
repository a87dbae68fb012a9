"""PHP: php-cgi for WASI behind a document root, and an application beside native php-cgi."""
