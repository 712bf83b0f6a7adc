"""The one door: every move of a run passes here, and everything that must follow it is done here.

The rooms above it (`runs`, `schedules`, `work`, `embedded`) move nothing by themselves. Begin with `moves`.
"""
