#include "src/cli/standard_output.hpp"

#include "core/error.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <unistd.h>

namespace sluice {

bool standard_output_failed() { return std::ferror(stdout) != 0 || std::cout.bad(); }

void flush_standard_output()
{
    errno = 0;
    std::cout.flush();
    const bool flushed = std::fflush(stdout) == 0;
    if (flushed && !standard_output_failed())
        return;
    // What refused earlier has forgotten why: it says so again.
    if (errno == 0 && write(STDOUT_FILENO, "\n", 1) == 1)
        errno = 0;
    const std::string reason = errno != 0 ? std::string(": ") + std::strerror(errno) : "";
    throw data_error("cannot write all of the output" + reason, "standard output",
                     "make room where it goes, or send it elsewhere, and run the command again");
}

} // namespace sluice
