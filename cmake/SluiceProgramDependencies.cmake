# What only the program itself needs; the installed libraries do without it.
find_package(Boost 1.74 REQUIRED)                       # libboost-dev (Asio: headers only)
find_package(CLI11 REQUIRED)                            # libcli11-dev
# Its headers only: the library is built without the checks that src/config/checked_toml.hpp needs.
find_path(SLUICE_TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED) # libtomlplusplus-dev
add_library(tomlplusplus::tomlplusplus INTERFACE IMPORTED)
target_include_directories(tomlplusplus::tomlplusplus INTERFACE ${SLUICE_TOMLPLUSPLUS_INCLUDE})
target_compile_definitions(tomlplusplus::tomlplusplus INTERFACE TOML_HEADER_ONLY=1)
