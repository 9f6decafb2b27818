//! fpm-gateway
