"""What connects the ports to a real database, queue, clock and source of entropy: transport only.

Only the application's edge (`app`, `embedded`, `cloudflare`, `cli`) imports
them. Begin with `sqlite` or `d1`.
"""
