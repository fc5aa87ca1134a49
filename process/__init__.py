"""What both programs need and no library gives: settings files, bounded requests, authentication and logs."""
