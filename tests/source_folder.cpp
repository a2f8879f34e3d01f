#include "tests/source_folder.hpp"

#include <cstdlib>

namespace sluice {

std::string source_path(std::string_view relative)
{
    const char* moved = std::getenv("SLUICE_SOURCE_DIR");
    std::string path = moved != nullptr ? moved : SLUICE_SOURCE_DIR;
    return path.append("/").append(relative);
}

} // namespace sluice
