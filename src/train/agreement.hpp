// Errors that all ranks learn of together, so that one message is printed and every rank leaves in order.
#pragma once

#include "pipeline/transport/transport.hpp"

#include <functional>

namespace sluice {

/// Collective. Runs `work` on every rank; when it throws UserError on any, throws on every rank the
/// error of the lowest such rank (which is named in the message when not all failed alike).
void agree(Transport& transport, const std::function<void()>& work);

/// Collective. Runs `work` on rank 0 only; its UserError is thrown on every rank.
void on_rank_zero(Transport& transport, const std::function<void()>& work);

} // namespace sluice
