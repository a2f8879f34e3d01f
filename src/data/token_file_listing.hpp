// What a token file says about itself.
#pragma once

#include "io/token_file.hpp"

#include <string>

namespace sluice {

std::string token_file_json(const TokenFileInfo& info, bool verified);
/// One "name  value" per line.
std::string token_file_text(const TokenFileInfo& info, bool verified);

} // namespace sluice
