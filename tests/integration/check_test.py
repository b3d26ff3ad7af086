#!/usr/bin/python3
"""tools/check.py says yes to a good service, and no to one that fails it."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402

ECHO = harness.built("services/udp_echo/udp_echo")
CHECK = pathlib.Path(__file__).resolve().parents[2] / "tools/check.py"


class CheckTest(unittest.TestCase):

    def check(self, binary):
        return harness.run(sys.executable, CHECK, binary, "--seconds=1", timeout=60)

    def test_good(self):
        result = self.check(ECHO)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("All is well.", result.stdout)

    def test_a_service_that_drops_some(self):
        with tempfile.TemporaryDirectory() as folder:
            limited = pathlib.Path(folder) / "udp_echo"
            # Flags that come later win, so these have to.
            limited.write_text(f'#!/bin/bash\nexec {ECHO} "$@" --limits.rate=5 --limits.burst=5\n')
            limited.chmod(0o755)
            result = self.check(limited)
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertIn("FAIL  every datagram is answered", result.stdout)

    def test_a_program_that_is_no_service(self):
        result = self.check("/bin/true")
        self.assertEqual(result.returncode, 1)
        self.assertIn("FAIL", result.stdout)
        self.assertNotEqual(self.check("/no/such/program").returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
