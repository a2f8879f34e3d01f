#include "core/host_name.hpp"

#include <unistd.h>

namespace sluice {

std::string host_name()
{
    char name[256] = {}; // longer ones are cut; the last byte stays zero
    gethostname(name, sizeof name - 1);
    return name;
}

} // namespace sluice
