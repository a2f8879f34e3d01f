#include "core/driver_version.hpp"

namespace sluice {

namespace {

std::string text_of(int version)
{
    return "CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

} // namespace

std::string why_driver_is_too_old(int driver_version, int program_version)
{
    return "the NVIDIA driver is for " + text_of(driver_version) + ", this program for " +
           text_of(program_version) + ": the driver is too old";
}

} // namespace sluice
