"""Before any training: will it start, and with which group size?"""
