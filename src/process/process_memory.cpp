#include "src/process/process_memory.hpp"

#include <sys/resource.h>

namespace sluice {

std::size_t peak_resident_bytes()
{
    rusage usage = {};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

} // namespace sluice
