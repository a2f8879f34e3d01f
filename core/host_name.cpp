#include "core/host_name.hpp"

#include <fstream>
#include <unistd.h>

namespace sluice {

std::string host_name()
{
    char name[256] = {}; // longer ones are cut; the last byte stays zero
    gethostname(name, sizeof name - 1);
    return name;
}

std::string boot_id()
{
    std::string id;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
    return id;
}

} // namespace sluice
