#include "core/shared_library.hpp"

#include <dlfcn.h>

namespace sluice {

SharedLibrary::SharedLibrary(const std::string& name, const std::string& folder,
                             const std::string& where, const std::string& remedy)
    : name_(name)
{
    for (const std::string& path : {name, folder + "/" + name})
        if (handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); handle_ != nullptr)
            return;
    const char* reason = dlerror();
    throw usage_error("cannot load " + name + ": " + (reason ? reason : "unknown reason"), where,
                      remedy);
}

void* SharedLibrary::address_of(const char* name) const
{
    void* const address = dlsym(handle_, name);
    SLUICE_CHECK(address != nullptr, name_ << " has no " << name);
    return address;
}

} // namespace sluice
