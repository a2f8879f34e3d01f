#include "src/process/program_version.hpp"

namespace sluice {

extern const char* const source_revision; // written by cmake/SluiceRevision.cmake

std::string program_version()
{
    const std::string revision = source_revision;
    return "sluice " SLUICE_VERSION + (revision.empty() ? "" : " (" + revision + ")");
}

} // namespace sluice
