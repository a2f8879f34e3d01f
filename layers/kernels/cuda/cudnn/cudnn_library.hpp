// cuDNN, loaded when attention first asks for it: programs that do not ask start without it.
#pragma once

#include "core/error.hpp"

#include <cstddef>
#include <string>

namespace sluice::kernels {

class CudnnLibrary {
public:
    /// Throws UserError (usage) when cuDNN or CUDA's runtime library, which its frontend calls, is
    /// not found, or cuDNN is too old.
    static const CudnnLibrary& loaded();

    /// As dlopen() gave it.
    void* handle() const { return handle_; }
    /// 91900: 9.19.0.
    std::size_t version() const { return version_; }

private:
    CudnnLibrary();

    void* handle_;
    std::size_t version_;
};

/// "9.19.0"
std::string cudnn_version_text(std::size_t version);

/// A message of cuDNN's as one line, if need be shortened.
std::string cudnn_line(std::string text);

/// UserError (usage): the library that is loaded cannot do `what`.
UserError cudnn_refuses(const std::string& what, const std::string& why);

} // namespace sluice::kernels
