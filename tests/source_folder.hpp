// Where this repository lies, for tests that read files of it. One definition for all test
// programs, so that no compile command names the folder and compiler caches serve every checkout.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

/// "docs/run-file.md" -> its absolute path; SLUICE_SOURCE_DIR names another folder than where the
/// tests were built.
std::string source_path(std::string_view relative);

} // namespace sluice
