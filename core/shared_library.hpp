// A library that is loaded when it is first needed, not when the program starts: programs that need
// none start without it.
#pragma once

#include "core/error.hpp"

#include <string>

namespace sluice {

class SharedLibrary {
public:
    /// Looks where the loader looks (LD_LIBRARY_PATH, a module's paths), then in `folder`, where
    /// the build found it. Stays loaded for good. Throws UserError (usage) with `where` and
    /// `remedy`.
    SharedLibrary(const std::string& name, const std::string& folder, const std::string& where,
                  const std::string& remedy);

    /// Points `call` at the function of that name.
    template <class Call>
    void find(Call& call, const char* name) const
    {
        call = reinterpret_cast<Call>(address_of(name));
    }

    /// As dlopen() gave it, for a library that looks up its own functions.
    void* handle() const { return handle_; }

private:
    void* address_of(const char* name) const;

    std::string name_;
    void* handle_ = nullptr;
};

} // namespace sluice
