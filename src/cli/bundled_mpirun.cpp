#include "src/cli/bundled_mpirun.hpp"

#include <cstdlib>
#include <string>
#include <utility>

namespace sluice {

void use_bundled_mpirun(const std::filesystem::path& program)
{
    const std::filesystem::path prefix = program.parent_path().parent_path();
    const std::filesystem::path libraries = prefix / "lib/x86_64-linux-gnu";
    const std::filesystem::path settings = prefix / "etc/openmpi"; // no /usr/etc/openmpi anywhere
    std::error_code error;
    if (std::getenv("OPAL_PREFIX") != nullptr ||
        !std::filesystem::is_directory(libraries / "openmpi", error) ||
        !std::filesystem::is_directory(settings, error))
        return;
    const char* path = std::getenv("PATH");
    const std::string programs = (prefix / "bin").string();
    setenv("PATH", (path != nullptr ? programs + ":" + path : programs).c_str(), 1);
    // As in bundle/mpirun. The last one: mpirun refuses to start ranks on this machine, too, where
    // it finds nothing to reach others with.
    const std::pair<const char*, std::string> variables[] = {
        {"OPAL_PREFIX", prefix.string()},
        {"OPAL_SYSCONFDIR", settings.string()},
        {"PMIX_LIBDIR", (libraries / "pmix2/lib").string()},
        {"PMIX_DATADIR", (libraries / "pmix2/share").string()},
        {"OMPI_MCA_plm_rsh_agent", "ssh : rsh : false"}};
    for (const auto& [name, value] : variables)
        setenv(name, value.c_str(), 0);
}

} // namespace sluice
