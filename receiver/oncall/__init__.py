"""Who is on call at an instant, and by which contacts they are reached. Pure; imports incident."""
