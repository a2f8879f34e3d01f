#include "tests/source_folder.hpp"

namespace sluice {

std::string source_path(std::string_view relative)
{
    return std::string(SLUICE_SOURCE_DIR "/").append(relative);
}

} // namespace sluice
