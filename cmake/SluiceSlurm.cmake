# slurm/chain.sh inside the program: a single binary must be enough to submit a job.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/slurm/chain.sh)
file(READ ${PROJECT_SOURCE_DIR}/slurm/chain.sh chain_text)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/chain_script.cpp @ONLY CONTENT
[=[// Made from slurm/chain.sh by cmake/SluiceSlurm.cmake.
#include "src/submit/batch_script.hpp"

const std::string_view sluice::chain_script = R"chain(@chain_text@)chain";
]=])
target_sources(sluice_src PRIVATE ${PROJECT_BINARY_DIR}/chain_script.cpp)
