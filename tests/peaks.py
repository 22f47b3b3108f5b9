"""The peak of memory of a program that a test starts: what the program has to know to say it.

Owns no test. What `resource` says begins, behind fork and exec, with the peak of the process that started the program:
behind a test run of a gigabyte no growth is ever seen. The kernel's own figure begins anew with the program.
"""

PEAK = """
def peak():
    '''Return the most KiB that this program has had.'''
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except FileNotFoundError:
        import resource, sys
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most // 1024 if sys.platform == "darwin" else most
"""
